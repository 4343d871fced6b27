"""Zeek's own types of the fields of its logs, and which logs there are: what its JSON does not say."""


def _names(text: str, type_: str) -> dict[str, str]:
    return dict.fromkeys(text.split(), type_)


_TIMES = """
ts ref_time org_time rec_time xmt_time not_valid_before not_valid_after certificate.not_valid_before
certificate.not_valid_after from till times.modified times.accessed times.created times.changed
"""
_INTERVALS = """
duration lease_time pkt_lag rtt suppress_for ts_delta root_delay root_disp poll precision
"""
_COUNTS = """
Z acks active_dns_requests active_files active_icmp_conns active_tcp_conns active_timers active_udp_conns
auth_attempts basic_constraints.path_len bytes bytes_recv certificate.key_length certificate.version depth
dns_requests events_proc events_queued extracted_size file_size files gaps hits icmp_conns info_code ip_proto mem
missed_bytes missing_bytes n num_exts orig_bytes orig_ip_bytes orig_pkts overflow_bytes pkts_dropped pkts_link
pkts_proc qclass qtype rcode reassem_file_size reassem_frag_size reassem_tcp_size reassem_unknown_size reply_code
request_body_len resp_bytes resp_ip_bytes resp_pkts response_body_len seen_bytes status_code stratum tcp_conns timers
total_bytes trans_depth trans_id udp_conns uniq_hosts version.major version.minor version.minor2 version.minor3
ssh.version ntp.version ntp.mode
"""
_PORTS = "data_channel.resp_p host_p id.orig_p id.resp_p p port_num"
_BOOLS = """
AA RA RD TC auth_success basic_constraints.ca data_channel.passive dropped established extracted_cutoff forwardable
init is_orig is_webmail local_orig local_resp notice rejected renewable resumed success timedout tls
"""
_DOUBLES = "percent_lost remote_location.latitude remote_location.longitude"
_TEXTS = """
addl answers assigned_addr assigned_ip client client_addr conn_state direction error_msg fuid history host host_key
hassh hasshServer id.orig_h id.resp_h mac md5 method mime_type msg name note password peer proto query referrer
request_type server server_addr server_name service sha1 sha256 source src dst status_msg sub subject issuer uid uri
user user_agent username version http.version ssl.version dce_rpc.named_pipe arg command reply_msg
"""

TYPES: dict[str, str] = {
    **_names(_TIMES, "time"),
    **_names(_INTERVALS, "interval"),
    **_names(_COUNTS, "count"),
    **_names(_PORTS, "port"),
    **_names(_BOOLS, "bool"),
    **_names(_DOUBLES, "double"),
    **_names(_TEXTS, "string"),
    "inner_vlan": "int",
    "smtp.from": "string",
    "syslog.from": "string",
}
"""By field, or by `log.field` where a field means something else there (https://docs.zeek.org, "Log Files")."""

_LOGS = """
analyzer barnyard2 broker capture_loss cluster config conn dce_rpc dhcp dnp3 dns dpd files ftp http intel irc kerberos
known_certs known_hosts known_modbus known_services ldap ldap_search loaded_scripts modbus modbus_register_change
mqtt_connect mqtt_publish mqtt_subscribe mysql netcontrol netcontrol_drop netcontrol_shunt notice notice_alarm ntlm
ntp ocsp openflow packet_filter pe postgresql print quic radius rdp redis reporter rfb signatures sip smb_cmd
smb_files smb_mapping smtp snmp socks software ssh ssl stats stderr stdout syslog telemetry traceroute tunnel
unknown_protocols weird weird_stats websocket wireguard x509
"""
LOGS = frozenset(_LOGS.split())
"""The names of Zeek's logs."""

SIGNS: dict[str, tuple[str, ...]] = {
    "dns": ("trans_id", "rejected"),
    "http": ("trans_depth", "request_body_len"),
    "smtp": ("trans_depth", "tls"),
    "ssl": ("resumed", "established"),
    "ssh": ("auth_attempts", "uid"),
    "ftp": ("command", "reply_code"),
    "files": ("fuid", "seen_bytes"),
    "notice": ("note", "msg"),
    "weird": ("name", "notice"),
}
"""Fields that every record of a log has and no other log has together: what tells a log that does not say its name."""


def field_type(log: str, name: str) -> str | None:
    """Return Zeek's type of a log's field, None where it is not known."""
    return TYPES.get(f"{log}.{name}") or TYPES.get(name)

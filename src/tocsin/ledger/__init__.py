"""The ledger: findings, labels, suppressions and job history in one database."""

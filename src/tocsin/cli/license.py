"""`tocsin license`: the licence of tocsin, and of what it stands on."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

import rich_click as click

from tocsin.cli.output import json_option, print_json, print_table

LONGEST = 60


@click.command("license")
@json_option
@click.option("--text", is_flag=True, help="Print the full text of tocsin's own licence.")
def license_(as_json: bool, text: bool) -> None:
    """Print the licence of tocsin, and the runtime dependencies with theirs.

    \b
    tocsin license
    tocsin license --json
    tocsin license --text
    """
    own = distribution("tocsin")
    if text:
        click.echo(licence_text(own))
        return
    dependencies = [_row(item) for item in dependencies_of(own)]
    if as_json:
        print_json({**_row(own), "dependencies": dependencies})
        return
    click.echo(f"tocsin {own.version}: {licence_of(own)}; `tocsin license --text` prints it whole\n")
    print_table("runtime dependencies", ["name", "version", "licence"], [list(row.values()) for row in dependencies])


def dependencies_of(own: Distribution) -> list[Distribution]:
    """Return what is needed at run time and installed, directly or through others, sorted by name."""
    found: dict[str, Distribution] = {}
    waiting = [(requirement, "") for requirement in own.requires or []]
    while waiting:
        requirement, extras = waiting.pop()
        name, wanted = _name(requirement)
        extra = re.search(r"extra\s*==\s*[\"']([^\"']+)", requirement)
        if name in found or (extra and extra.group(1) not in extras.split(",")):
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # for another system or version of Python
        waiting += [(further, wanted) for further in found[name].requires or []]
    return sorted(found.values(), key=lambda item: item.name.lower())


def licence_of(item: Distribution) -> str:
    """Return a short name of a distribution's licence: its expression, else its classifiers, else its licence field."""
    (expression,) = item.metadata.get_all("License-Expression") or [""]
    if expression:
        return str(expression)
    classifiers = [line for line in item.metadata.get_all("Classifier") or [] if line.startswith("License :: ")]
    if classifiers:
        return ", ".join(line.rpartition(" :: ")[2] for line in classifiers)
    lines = "".join(item.metadata.get_all("License") or []).strip().splitlines()
    return lines[0][:LONGEST] if lines else "not stated"


def licence_text(own: Distribution) -> str:
    """Return the text that was installed with the package."""
    files = [file for file in own.files or [] if file.name == "LICENSE" and "licenses" in file.parts]
    return files[0].read_text() if files else f"{licence_of(own)}: https://www.apache.org/licenses/LICENSE-2.0"


def _row(item: Distribution) -> dict[str, str]:
    return {"name": item.name, "version": item.version, "licence": licence_of(item)}


def _name(requirement: str) -> tuple[str, str]:
    """Split `Name[extra,…]>=1; marker` into the normalised name and the extras."""
    found = re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?", requirement)
    name, extras = found.groups() if found else (requirement, "")
    return re.sub(r"[-_.]+", "-", name).lower(), (extras or "").replace(" ", "")

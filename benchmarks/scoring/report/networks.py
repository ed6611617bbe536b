"""The networks as a table on the terminal."""

from __future__ import annotations

from maskanim.benchmarks.scoring.nets import NETWORKS, Nets
from maskanim.benchmarks.scoring.report.tables import Table
from maskanim.benchmarks.scoring.report.terminal import print_table


def print_networks(nets: Nets) -> None:
    """Print each network, what it takes the place of, whence it comes and whether it is here."""
    headings = ("network", "tells", "instead of", "licence", "from", "here")
    rows = []
    for name, network in NETWORKS.items():
        place = nets.find(name)
        origin = next((form.origin for form in network.forms if form.package), network.forms[0].origin)
        found = (nets.missing(name) or f"{place.files[0]}, sha256 as it should be") if place else "no"
        rows.append((network.signature, network.does, network.instead_of, network.licence, origin, found))
    print_table(Table(f"networks, looked for in {nets.folder}", headings, rows, frozenset()), justify="left")

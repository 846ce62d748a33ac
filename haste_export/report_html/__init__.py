"""One self-contained HTML page about a compressed model: it opens offline and needs nothing beside it."""

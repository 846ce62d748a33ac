"""Which layers get faster: predicted by a cost model, or measured on this machine."""

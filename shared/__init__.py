"""What both sides speak: message contracts, the bus, settings, logging, metrics."""

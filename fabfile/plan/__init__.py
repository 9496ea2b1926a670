"""Pure decisions: settings and facts in, a decision out. Nothing here reads a clock, a file or the network."""

"""The only loop: observe, decide, record, act, wait."""

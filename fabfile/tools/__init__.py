"""One module for each outside system: argv or API calls out, plain values back. Decides nothing."""

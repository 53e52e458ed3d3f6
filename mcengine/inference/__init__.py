"""From a summary to an estimate: value, error bar, interval, diagnostics and status."""

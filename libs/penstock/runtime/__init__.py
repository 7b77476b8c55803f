"""What every process needs before its own work: settings, clock, logs, metrics, health, the run loop."""

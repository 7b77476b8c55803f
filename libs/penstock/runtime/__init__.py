"""What every process needs before it does its own work: settings, clock, logs, metrics, health, the run loop."""

"""For tests: clocks, servers, databases, small graphs. Production code never imports it."""

"""Pure rules of the orchestrator: states, ids, lanes, errors. Nothing here touches a driver, a clock or the network."""

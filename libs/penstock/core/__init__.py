"""Pure rules of the orchestrator: states, ids, lanes, errors. No driver, clock or network here."""

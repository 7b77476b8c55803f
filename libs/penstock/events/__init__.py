"""The records on the topics: one module a subject, the envelope around them, and the topics themselves."""

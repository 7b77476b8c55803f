"""Object storage: log chunks and definitions under deterministic keys. The only home of boto3."""

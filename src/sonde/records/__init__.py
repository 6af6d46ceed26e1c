"""What flows: batches of records with a schema, the sources that read them, and the account of what was lost."""

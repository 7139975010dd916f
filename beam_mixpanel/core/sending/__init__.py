"""What decides how events are sent: batches, answers, waits, culprits, accounts."""

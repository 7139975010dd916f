"""What is read of a source that has an order: increments, ranges of keys, BigQuery's SQL."""

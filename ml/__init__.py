"""Market data to decisions as pure functions: arrays in, arrays out, no database and no network."""

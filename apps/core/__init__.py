"""What every room stands on: tenancy, events, errors, paging. Knows no domain word."""

"""What would these orders have done on these bars? One fill kernel answers for all callers."""

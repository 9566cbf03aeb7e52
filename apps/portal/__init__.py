"""The pages a trader sees, and the socket that keeps them alive."""

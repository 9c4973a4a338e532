"""What a key press costs: time, memory, and how both grow."""

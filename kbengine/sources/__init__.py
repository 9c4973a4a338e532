"""What proposes candidates; each gives log P(text | context, what is typed)."""

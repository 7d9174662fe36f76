"""What remembering costs."""

"""What people see: overlays, tables, the explorer and its server. No torch."""

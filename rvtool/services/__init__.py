"""What sources share: telling an image from the many ways in which a service says no, positions, VOTables."""

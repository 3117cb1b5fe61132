"""What every room uses: errors, records, files on disk, memory, the machine."""

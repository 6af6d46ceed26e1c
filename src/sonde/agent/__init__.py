"""What runs unattended: reads the kernel, keeps totals, writes them to exporters, for weeks."""

"""What must hold whatever happens: crashes, power loss, failing disks and caches, clocks, several holders."""

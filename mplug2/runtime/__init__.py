"""What every other package of mplug2 uses: processes, random numbers, progress, files."""

"""What every stage needs: settings, errors, files, labels, tables."""

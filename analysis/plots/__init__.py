"""Pictures: from measurements to plotly figures. Nothing here writes a file."""

"""What the data set page stands on: places in the workspace, scans, captions, undo; no Gradio."""

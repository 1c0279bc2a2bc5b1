"""What is shipped to run it elsewhere: images, compose, Kubernetes. Checked by its own tools, not run."""

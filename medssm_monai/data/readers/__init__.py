"""Readers of images, masks and volumes: what a file holds becomes values with a known range and place."""

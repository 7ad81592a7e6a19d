"""What also runs inside of Orthanc, whose Python has no package but the standard library: rules, queue and plugin."""

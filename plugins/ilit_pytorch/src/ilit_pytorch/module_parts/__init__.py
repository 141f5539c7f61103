"""What INT8 modules have in common: input as codes, output and weight as the float op's, entries in a state dict."""

"""The science of benchmarking (``statistics``) and one folder for each benchmark, with the same files in each."""

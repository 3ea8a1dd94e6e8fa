import sys
def main(argv):
    print(argv, sys.executable, sys.path); import pycontain._native

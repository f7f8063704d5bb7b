"""The command line: `framemesh up | status | apply | call | doctor`."""

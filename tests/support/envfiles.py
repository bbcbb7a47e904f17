"""Environment files in all their forms, and what systemd takes from each: asked of our parser and of systemd."""

Values = dict[str, bytes]

FILES: dict[str, tuple[bytes, Values]] = {
    "plain": (b"TS_AUTHKEY=value\n", {"TS_AUTHKEY": b"value"}),
    "no-newline": (b"TS_AUTHKEY=value", {"TS_AUTHKEY": b"value"}),
    "windows": (b"A=1\r\nB=2\r\n", {"A": b"1", "B": b"2"}),
    "spaces": (b"  A =  x y  \t\nB=\tz\n", {"A": b"x y", "B": b"z"}),
    "double": (b'A="x  y "\nB="a\\"b\\\\c\\$d\\`e\\f"\n', {"A": b"x  y ", "B": b'a"b\\c$d`e\\f'}),
    "single": (b"A='x \"\\$ y'\nB='a'b'c'\n", {"A": b'x "\\$ y', "B": b"ab'c'"}),
    "joined": (b'A="x" y\nB=\'x\'"y"\n', {"A": b"xy", "B": b"xy"}),
    "quote-within": (b'A=x"y z"\n', {"A": b'x"y z"'}),
    "continued": (b"A=one\\\n  two\nB=1\n", {"A": b"one  two", "B": b"1"}),
    "continued-quoted": (b'A="one\\\ntwo"\nB=1\n', {"A": b"onetwo", "B": b"1"}),
    "lines-in-quotes": (b"A=\"one\ntwo\"\nB='1\n2'\n", {"A": b"one\ntwo", "B": b"1\n2"}),
    "escaped": (b'A=a\\ b\\\\c\\"d\\ \nB=x\\ \\\n\n', {"A": b'a b\\c"d ', "B": b"x "}),
    "kept-space": (b"A=x \\\n\nB=y \\\nz \n", {"A": b"x ", "B": b"y z"}),
    "comments": (b"# A=1\n; B=2\n  #C=3\nD=4 # not one\n", {"D": b"4 # not one"}),
    "comment-escape": (b"# a \\b\nA=1\n", {"A": b"1"}),
    "empty": (b"A=\nB=''\nC=\"\"\n", {"A": b"", "B": b"", "C": b""}),
    "twice": (b"A=1\nB=2\nA=3\n", {"B": b"2", "A": b"3"}),
    "bad-names": (b"1A=x\nA-B=x\nA B=x\n=x\nexport C=x\nD=ok\n", {"D": b"ok"}),
    "no-equals": (b"nothing\nA=1\nB", {"A": b"1"}),
    "equals-within": (b"A=b=c==\n", {"A": b"b=c=="}),
    "control": (b"A=x\x01y\nB=x\x7fy\nC=x\ty\n", {"A": b"x\x01y", "B": b"x\x7fy", "C": b"x\ty"}),
    "unicode": ("A=schlüssel\u2028x\n".encode(), {"A": "schlüssel\u2028x".encode()}),
    "open-double": (b'A=1\nB="x\nC=2\n', {"A": b"1", "B": b"x\nC=2\n"}),
    "open-escape": (b"A=x\\", {"A": b"x"}),
    "open-double-escape": (b'A="x\\', {"A": b"x"}),
    "blank-end": (b"A=x   ", {"A": b"x"}),
    "after-quote": (b'A="x"  \nB="y"\t\\\n z\n', {"A": b"x", "B": b"y z"}),
    "dollar": (b"A=$B ${C} $(d) `e`\n", {"A": b"$B ${C} $(d) `e`"}),
}
"""By name: the file, and the variables with their values."""

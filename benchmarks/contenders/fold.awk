# What `perf script -F comm,ip,sym` prints, folded: one line for each stack, the outermost first, and how often it was seen.
/^\t/ { name = $2; for (at = 3; at <= NF; at++) name = name "_" $at; stack = ";" name stack; next }
NF { comm = $0; sub(/ +$/, "", comm); next }
comm != "" { seen[comm stack]++; comm = stack = "" }
END { for (each in seen) print each, seen[each] }

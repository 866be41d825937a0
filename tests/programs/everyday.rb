# Everyday Ruby: containers, text, threads, garbage collection, a child.
$stdout.sync = true
words = (1..20_000).map { |i| "word#{i * i % 997}" }
p words.tally.max_by(3) { |word, n| [n, word] }
p (1..4).map { |t| Thread.new { Array.new(4_000) { |i| "x" * ((i * 131 * t) % 5_000) }.sum(&:size) } }.map(&:value)
GC.start
p `echo child`.strip, $?.exitstatus
p Process.wait2(fork { p Array.new(50_000) { Object.new }.size; exit!(7) })[1].exitstatus

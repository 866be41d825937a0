# Everyday Perl: hashes, regular expressions, sorting, a pipe and a fork.
use strict;
use warnings;

$| = 1;
my %count;
$count{ 'word' . ($_ * $_ % 97) }++ for 1 .. 5000;
print "$_ $count{$_}\n" for sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
my $text = join ' ', map { sprintf '%05d', $_ } 1 .. 20_000;
my $sevens = () = $text =~ /7/g;
print length $text, " $sevens\n";
print `echo through a shell`;
my $pid = fork // die "fork: $!";
if (!$pid) { my @big = (1) x 50_000; print scalar @big, "\n"; exit 9 }
waitpid $pid, 0;
print $? >> 8, "\n";

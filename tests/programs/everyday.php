<?php
// Everyday PHP: arrays, JSON, regular expressions, compression, a child.
$words = array_map(fn($i) => 'word' . ($i * $i % 997), range(1, 20000));
$count = array_count_values($words);
arsort($count);
ksort($count);
echo count($count), ' ', md5(json_encode($count)), "\n";
$text = json_encode(array_map(fn($i) => ['id' => $i, 'name' => "n$i"], range(1, 3000)));
echo strlen($text), ' ', preg_match_all('/"n\d*7"/', $text), ' ', crc32($text), "\n";
echo shell_exec('echo child');

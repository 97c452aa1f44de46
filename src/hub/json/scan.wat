;; Checks the grammar of a JSON text (RFC 8259), given in one or more windows. scan.wasm is this file compiled: after a
;; change run `bun test/compile-scan.ts`; a test compares the two.
;;
;; run(length, available, fresh) reads `length` bytes from address 0x10000 on: a multiple of 64 unless they are the last.
;; `available` counts those and what follows them (64 bytes are enough to see escapes and literals that continue there).
;; `fresh` is 1 for the first window of a text. It returns 0: not JSON, 1: unfinished, 2: complete, 3: more than 65,536 open
;; containers. That the text is valid UTF-8 is not checked. Memory: 64 KiB stack, one byte for each open container, then
;; 64 KiB for the window.
;;
;; The text is read in blocks of 64 bytes. Each kind of byte is a mask of 64 bits, and every rule is an operation on masks.
;; Adding a mask of starts to a mask of runs carries each start to the end of its run: this finds "the next byte that is not
;; white space" and "the end of the digits" without a loop. Which token may follow which depends on the two tokens alone,
;; except for containers: only brackets need a stack and a loop, and they decide only whether a key must follow a comma.
;; A mask shifted left by one marks the byte after; the bit that is shifted out is kept for the next block in $..._before,
;; and for the next window in a global.
(module
  (memory (export "memory") 2 2)
  (global $saved_in_string (mut i64) (i64.const 0))
  (global $saved_escaped (mut i64) (i64.const 0))
  (global $saved_scalar_before (mut i64) (i64.const 0))
  (global $saved_string_before (mut i64) (i64.const 0))
  (global $saved_value_before (mut i64) (i64.const 0))
  (global $saved_opener_before (mut i64) (i64.const 0))
  (global $saved_separator_before (mut i64) (i64.const 0))
  (global $saved_dot_before (mut i64) (i64.const 0))
  (global $saved_minus_before (mut i64) (i64.const 0))
  (global $saved_zero_before (mut i64) (i64.const 0))
  (global $saved_integer_before (mut i64) (i64.const 0))
  (global $saved_exponent_before (mut i64) (i64.const 0))
  (global $saved_sign_before (mut i64) (i64.const 0))
  (global $saved_power_before (mut i64) (i64.const 0))
  (global $saved_in_exponent (mut i64) (i64.const 0))
  (global $saved_literal_before (mut i64) (i64.const 0))
  (global $saved_in_object (mut i64) (i64.const 0))
  (global $saved_open_containers (mut i64) (i64.const 0))
  (func (export "run") (param $length i32) (param $available i32) (param $fresh i32) (result i32)
    (local $depth i32) (local $position i32) (local $end i32) (local $text_end i32) (local $backslash i32)
    (local $bracket i32) (local $at i32) (local $letters i32) (local $is_false i32) (local $follower i32)
    (local $in_string i64) (local $escaped i64) (local $scalar_before i64) (local $string_before i64)
    (local $value_before i64) (local $opener_before i64) (local $separator_before i64)
    (local $dot_before i64) (local $minus_before i64) (local $zero_before i64) (local $integer_before i64)
    (local $exponent_before i64) (local $sign_before i64) (local $power_before i64)
    (local $in_exponent i64) (local $literal_before i64) (local $in_object i64)
    (local $open_containers i64) (local $bad i64) (local $covered i64) (local $marks i64)
    (local $index i64) (local $quotes i64) (local $inside i64) (local $outside i64) (local $closing i64)
    (local $brackets i64) (local $openers i64) (local $objects i64) (local $top i64) (local $ahead i64)
    (local $left i64) (local $bit i64) (local $up_to i64) (local $closers i64) (local $commas i64)
    (local $colons i64) (local $separators i64) (local $white i64) (local $controls i64)
    (local $scalars i64) (local $shifted i64) (local $edges i64) (local $starts i64)
    (local $after_string i64) (local $after_other i64) (local $after_opener i64) (local $after_value i64)
    (local $hollow i64) (local $expecting i64) (local $next i64) (local $digits i64) (local $minuses i64)
    (local $dots i64) (local $others i64) (local $words i64) (local $index1 i64) (local $cover i64)
    (local $exponents i64) (local $pluses i64) (local $after_exponent i64) (local $signs i64)
    (local $after_sign i64) (local $powers i64) (local $after_power i64) (local $after_minus i64)
    (local $after_dot i64) (local $integers i64) (local $leading_zeros i64) (local $after_integer i64)
    (local $block0 v128) (local $block1 v128) (local $block2 v128) (local $block3 v128)
    (local $backslashes0 v128) (local $backslashes1 v128) (local $backslashes2 v128)
    (local $backslashes3 v128)
    (if (i32.eqz (local.get $fresh))
      (then
        (local.set $in_string (global.get $saved_in_string))
        (local.set $escaped (global.get $saved_escaped))
        (local.set $scalar_before (global.get $saved_scalar_before))
        (local.set $string_before (global.get $saved_string_before))
        (local.set $value_before (global.get $saved_value_before))
        (local.set $opener_before (global.get $saved_opener_before))
        (local.set $separator_before (global.get $saved_separator_before))
        (local.set $dot_before (global.get $saved_dot_before))
        (local.set $minus_before (global.get $saved_minus_before))
        (local.set $zero_before (global.get $saved_zero_before))
        (local.set $integer_before (global.get $saved_integer_before))
        (local.set $exponent_before (global.get $saved_exponent_before))
        (local.set $sign_before (global.get $saved_sign_before))
        (local.set $power_before (global.get $saved_power_before))
        (local.set $in_exponent (global.get $saved_in_exponent))
        (local.set $literal_before (global.get $saved_literal_before))
        (local.set $in_object (global.get $saved_in_object))
        (local.set $open_containers (global.get $saved_open_containers))))
    (local.set $depth (i32.wrap_i64 (local.get $open_containers)))
    (local.set $position (i32.const 0x10000))
    (local.set $end (i32.add (local.get $length) (i32.const 0x10000)))
    (local.set $text_end (i32.add (local.get $available) (i32.const 0x10000)))
    (v128.store align=1 (local.get $text_end) (i8x16.splat (i32.const 0x20)))
    (v128.store offset=16 align=1 (local.get $text_end) (i8x16.splat (i32.const 0x20)))
    (v128.store offset=32 align=1 (local.get $text_end) (i8x16.splat (i32.const 0x20)))
    (v128.store offset=48 align=1 (local.get $text_end) (i8x16.splat (i32.const 0x20)))
    (v128.store offset=64 align=1 (local.get $text_end) (i8x16.splat (i32.const 0x20)))
    (v128.store offset=80 align=1 (local.get $text_end) (i8x16.splat (i32.const 0x20)))
    (v128.store offset=96 align=1 (local.get $text_end) (i8x16.splat (i32.const 0x20)))
    (v128.store offset=112 align=1 (local.get $text_end) (i8x16.splat (i32.const 0x20)))
    (local.set $bad (i64.const 0))
    (block $done0
      (loop $again0
        (br_if $done0 (i32.ge_u (local.get $position) (local.get $end)))
        (local.set $block0 (v128.load align=1 (local.get $position)))
        (local.set $block1 (v128.load offset=16 align=1 (local.get $position)))
        (local.set $block2 (v128.load offset=32 align=1 (local.get $position)))
        (local.set $block3 (v128.load offset=48 align=1 (local.get $position)))
        (local.set $bad (i64.const 0))
        ;; Strings: a quote that is not escaped begins or ends one.
        (local.set $covered (local.get $escaped))
        (local.set $escaped (i64.const 0))
        (local.set $backslashes0 (i8x16.eq (local.get $block0) (i8x16.splat (i32.const 0x5c (; "\\" ;)))))
        (local.set $backslashes1 (i8x16.eq (local.get $block1) (i8x16.splat (i32.const 0x5c (; "\\" ;)))))
        (local.set $backslashes2 (i8x16.eq (local.get $block2) (i8x16.splat (i32.const 0x5c (; "\\" ;)))))
        (local.set $backslashes3 (i8x16.eq (local.get $block3) (i8x16.splat (i32.const 0x5c (; "\\" ;)))))
        (if
            (v128.any_true
              (v128.or
                (v128.or
                  (v128.or (local.get $backslashes0) (local.get $backslashes1))
                  (local.get $backslashes2))
                (local.get $backslashes3)))
          (then
            (local.set $marks
              (i64.and
                (call $mask
                  (local.get $backslashes0)
                  (local.get $backslashes1)
                  (local.get $backslashes2)
                  (local.get $backslashes3))
                (i64.xor (local.get $covered) (i64.const -1))))
            (block $done1
              (loop $again1
                (br_if $done1 (i64.eqz (local.get $marks)))
                (local.set $index (i64.ctz (local.get $marks)))
                (local.set $backslash (i32.add (local.get $position) (i32.wrap_i64 (local.get $index))))
                (if (i32.eqz (call $is_escape (local.get $backslash)))
                  (then
                    (return (i32.const 0))))
                (local.set $covered
                  (i64.or (local.get $covered) (i64.shl (i64.const 2) (local.get $index))))
                (local.set $escaped
                  (i64.or
                    (local.get $escaped)
                    (i64.shr_u (i64.shl (i64.const 1) (local.get $index)) (i64.const 63))))
                (local.set $marks
                  (i64.and
                    (local.get $marks)
                    (i64.xor (i64.shl (i64.const 3) (local.get $index)) (i64.const -1))))
                (br $again1)))))
        (local.set $quotes
          (i64.and
            (call $equal
              (local.get $block0) (local.get $block1) (local.get $block2) (local.get $block3)
              (i32.const 0x22 (; "\"" ;)))
            (i64.xor (local.get $covered) (i64.const -1))))
        (local.set $inside (local.get $quotes))
        (local.set $inside (i64.xor (local.get $inside) (i64.shl (local.get $inside) (i64.const 1))))
        (local.set $inside (i64.xor (local.get $inside) (i64.shl (local.get $inside) (i64.const 2))))
        (local.set $inside (i64.xor (local.get $inside) (i64.shl (local.get $inside) (i64.const 4))))
        (local.set $inside (i64.xor (local.get $inside) (i64.shl (local.get $inside) (i64.const 8))))
        (local.set $inside (i64.xor (local.get $inside) (i64.shl (local.get $inside) (i64.const 16))))
        (local.set $inside (i64.xor (local.get $inside) (i64.shl (local.get $inside) (i64.const 32))))
        (local.set $inside (i64.xor (local.get $inside) (local.get $in_string)))
        (local.set $in_string (i64.shr_s (local.get $inside) (i64.const 63)))
        (local.set $outside (i64.xor (local.get $inside) (i64.const -1)))
        (local.set $closing (i64.and (local.get $quotes) (local.get $outside)))
        ;; Containers: push and pop; mark which bytes belong to an object, and which to no container.
        ;; "Y", "_", "y" and DEL are taken for brackets here; as closing brackets they match no opening one.
        (local.set $brackets
          (i64.and
            (call $mask
              (i8x16.eq
                (v128.or (local.get $block0) (i8x16.splat (i32.const 0x26 (; "&" ;))))
                (i8x16.splat (i32.const 0x7f)))
              (i8x16.eq
                (v128.or (local.get $block1) (i8x16.splat (i32.const 0x26 (; "&" ;))))
                (i8x16.splat (i32.const 0x7f)))
              (i8x16.eq
                (v128.or (local.get $block2) (i8x16.splat (i32.const 0x26 (; "&" ;))))
                (i8x16.splat (i32.const 0x7f)))
              (i8x16.eq
                (v128.or (local.get $block3) (i8x16.splat (i32.const 0x26 (; "&" ;))))
                (i8x16.splat (i32.const 0x7f))))
            (local.get $outside)))
        (local.set $openers (i64.const 0))
        (local.set $objects (i64.const 0))
        (local.set $top (i64.sub (i64.const 0) (i64.extend_i32_u (i32.eqz (local.get $depth)))))
        (local.set $ahead (i64.const -1))
        (local.set $left (local.get $brackets))
        (block $done2
          (loop $again2
            (br_if $done2 (i64.eqz (local.get $left)))
            (local.set $bit (i64.and (local.get $left) (i64.sub (i64.const 0) (local.get $left))))
            (local.set $up_to (i64.xor (local.get $bit) (i64.sub (local.get $bit) (i64.const 1))))
            (local.set $objects
              (i64.or
                (local.get $objects)
                (i64.and (i64.and (local.get $in_object) (local.get $ahead)) (local.get $up_to))))
            (local.set $ahead (i64.and (local.get $ahead) (i64.xor (local.get $up_to) (i64.const -1))))
            (local.set $bracket
              (i32.load8_u (i32.add (local.get $position) (i32.wrap_i64 (i64.ctz (local.get $left))))))
            (if
                (i32.or
                  (i32.eq (local.get $bracket) (i32.const 0x7b (; "{" ;)))
                  (i32.eq (local.get $bracket) (i32.const 0x5b (; "[" ;))))
              (then
                (if (i32.eqz (local.get $depth))
                  (then
                    (local.set $top (local.get $up_to))))
                (if (i32.eq (local.get $depth) (i32.const 0x10000))
                  (then
                    (return (i32.const 3))))
                (i32.store8 (local.get $depth) (local.get $bracket))
                (local.set $depth (i32.add (local.get $depth) (i32.const 1)))
                (local.set $in_object
                  (i64.sub
                    (i64.const 0)
                    (i64.extend_i32_u (i32.eq (local.get $bracket) (i32.const 0x7b (; "{" ;))))))
                (local.set $openers (i64.or (local.get $openers) (local.get $bit))))
              (else
                (if (i32.eqz (local.get $depth))
                  (then
                    (return (i32.const 0))))
                (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))
                ;; In ASCII a closing bracket is its opening one plus two.
                (if
                    (i32.eqz
                      (i32.eq (i32.add (i32.load8_u (local.get $depth)) (i32.const 2)) (local.get $bracket)))
                  (then
                    (return (i32.const 0))))
                (if (i32.eqz (local.get $depth))
                  (then
                    (local.set $top (i64.or (local.get $top) (local.get $ahead))))
                  (else
                    (local.set $in_object
                      (i64.sub
                        (i64.const 0)
                        (i64.extend_i32_u
                          (i32.eq
                            (i32.load8_u (i32.sub (local.get $depth) (i32.const 1)))
                            (i32.const 0x7b (; "{" ;))))))))))
            (local.set $left (i64.xor (local.get $left) (local.get $bit)))
            (br $again2)))
        (local.set $objects
          (i64.or (local.get $objects) (i64.and (local.get $in_object) (local.get $ahead))))
        (local.set $closers (i64.xor (local.get $brackets) (local.get $openers)))
        ;; Scalars: what is neither string, separator nor white space is part of a number or a literal.
        (local.set $commas
          (i64.and
            (call $equal
              (local.get $block0) (local.get $block1) (local.get $block2) (local.get $block3)
              (i32.const 0x2c (; "," ;)))
            (local.get $outside)))
        (local.set $colons
          (i64.and
            (call $equal
              (local.get $block0) (local.get $block1) (local.get $block2) (local.get $block3)
              (i32.const 0x3a (; ":" ;)))
            (local.get $outside)))
        (local.set $separators
          (i64.or (i64.or (local.get $commas) (local.get $colons)) (local.get $brackets)))
        (local.set $white (i64.const 0))
        (if
            (v128.any_true
              (i8x16.le_u
                (i8x16.min_u
                  (i8x16.min_u (i8x16.min_u (local.get $block0) (local.get $block1)) (local.get $block2))
                  (local.get $block3))
                (i8x16.splat (i32.const 0x20))))
          (then
            (local.set $controls
              (call $mask
                (i8x16.lt_u (local.get $block0) (i8x16.splat (i32.const 0x20)))
                (i8x16.lt_u (local.get $block1) (i8x16.splat (i32.const 0x20)))
                (i8x16.lt_u (local.get $block2) (i8x16.splat (i32.const 0x20)))
                (i8x16.lt_u (local.get $block3) (i8x16.splat (i32.const 0x20)))))
            (local.set $white
              (call $equal
                (local.get $block0) (local.get $block1) (local.get $block2) (local.get $block3)
                (i32.const 0x20 (; " " ;))))
            (if (i64.ne (local.get $controls) (i64.const 0))
              (then
                (local.set $white
                  (i64.or
                    (i64.or
                      (i64.or
                        (local.get $white)
                        (call $equal
                          (local.get $block0) (local.get $block1) (local.get $block2) (local.get $block3)
                          (i32.const 0xa (; "\n" ;))))
                      (call $equal
                        (local.get $block0) (local.get $block1) (local.get $block2) (local.get $block3)
                        (i32.const 0xd (; "\r" ;))))
                    (call $equal
                      (local.get $block0) (local.get $block1) (local.get $block2) (local.get $block3)
                      (i32.const 0x9 (; "\t" ;)))))))
            (local.set $white (i64.and (local.get $white) (local.get $outside)))
            (local.set $bad
              (i64.or
                (local.get $bad)
                (i64.and (local.get $controls) (i64.xor (local.get $white) (i64.const -1)))))))
        (local.set $scalars
          (i64.xor
            (local.get $outside)
            (i64.or (i64.or (local.get $separators) (local.get $white)) (local.get $closing))))
        (local.set $shifted
          (i64.or (i64.shl (local.get $scalars) (i64.const 1)) (local.get $scalar_before)))
        (local.set $edges (i64.xor (local.get $scalars) (local.get $shifted)))
        (local.set $starts (i64.and (local.get $scalars) (local.get $edges)))
        (local.set $scalar_before (i64.shr_u (local.get $scalars) (i64.const 63)))
        ;; Order of tokens. A byte is "after" a token if only white space is between.
        (local.set $after_string
          (i64.or (i64.shl (local.get $closing) (i64.const 1)) (local.get $string_before)))
        (local.set $after_other
          (i64.or
            (i64.or (i64.shl (local.get $closers) (i64.const 1)) (local.get $value_before))
            (i64.and (local.get $shifted) (local.get $edges))))
        (local.set $after_opener
          (i64.or (i64.shl (local.get $openers) (i64.const 1)) (local.get $opener_before)))
        (local.set $string_before (i64.shr_u (local.get $closing) (i64.const 63)))
        (local.set $value_before (i64.shr_u (local.get $closers) (i64.const 63)))
        (local.set $opener_before (i64.shr_u (local.get $openers) (i64.const 63)))
        (if (i64.ne (local.get $white) (i64.const 0))
          (then
            (local.set $after_string (i64.add (local.get $after_string) (local.get $white)))
            (local.set $string_before
              (i64.or
                (local.get $string_before)
                (i64.shr_u
                  (i64.and (local.get $white) (i64.xor (local.get $after_string) (i64.const -1)))
                  (i64.const 63))))
            (local.set $after_other (i64.add (local.get $after_other) (local.get $white)))
            (local.set $value_before
              (i64.or
                (local.get $value_before)
                (i64.shr_u
                  (i64.and (local.get $white) (i64.xor (local.get $after_other) (i64.const -1)))
                  (i64.const 63))))
            (local.set $after_opener (i64.add (local.get $after_opener) (local.get $white)))
            (local.set $opener_before
              (i64.or
                (local.get $opener_before)
                (i64.shr_u
                  (i64.and (local.get $white) (i64.xor (local.get $after_opener) (i64.const -1)))
                  (i64.const 63))))))
        (local.set $after_value (i64.or (local.get $after_string) (local.get $after_other)))
        (local.set $hollow (i64.and (local.get $closers) (local.get $after_opener)))
        (local.set $bad
          (i64.or
            (local.get $bad)
            (i64.and
              (i64.or
                (i64.or (local.get $starts) (local.get $openers))
                (i64.and (local.get $quotes) (local.get $inside)))
              (local.get $after_value))))
        (local.set $bad
          (i64.or
            (local.get $bad)
            (i64.and
              (i64.or
                (local.get $commas)
                (i64.and (local.get $closers) (i64.xor (local.get $hollow) (i64.const -1))))
              (i64.xor (local.get $after_value) (i64.const -1)))))
        ;; Keys: from each comma and opening bracket to the next separator. In an object that must be a colon; elsewhere it must not.
        (local.set $expecting (i64.or (local.get $commas) (local.get $openers)))
        (local.set $next
          (i64.add
            (i64.or (i64.shl (local.get $expecting) (i64.const 1)) (local.get $separator_before))
            (i64.xor (local.get $separators) (i64.const -1))))
        (local.set $separator_before
          (i64.shr_u
            (i64.or
              (i64.xor (i64.or (local.get $separators) (local.get $next)) (i64.const -1))
              (local.get $expecting))
            (i64.const 63)))
        (local.set $bad
          (i64.or
            (local.get $bad)
            (i64.and
              (local.get $colons)
              (i64.xor
                (i64.and (i64.and (local.get $after_string) (local.get $next)) (local.get $objects))
                (i64.const -1)))))
        (local.set $bad
          (i64.or
            (local.get $bad)
            (i64.and
              (i64.and (local.get $objects) (local.get $next))
              (i64.xor (local.get $separators) (i64.or (local.get $colons) (local.get $hollow))))))
        (local.set $bad (i64.or (local.get $bad) (i64.and (local.get $commas) (local.get $top))))
        ;; Shifted to the lowest signed bytes, the ten digits need one comparison.
        (local.set $digits
          (i64.and
            (call $mask
              (i8x16.lt_s
                (i8x16.add (local.get $block0) (i8x16.splat (i32.const 0x50 (; "P" ;))))
                (i8x16.splat (i32.const 0x8a)))
              (i8x16.lt_s
                (i8x16.add (local.get $block1) (i8x16.splat (i32.const 0x50 (; "P" ;))))
                (i8x16.splat (i32.const 0x8a)))
              (i8x16.lt_s
                (i8x16.add (local.get $block2) (i8x16.splat (i32.const 0x50 (; "P" ;))))
                (i8x16.splat (i32.const 0x8a)))
              (i8x16.lt_s
                (i8x16.add (local.get $block3) (i8x16.splat (i32.const 0x50 (; "P" ;))))
                (i8x16.splat (i32.const 0x8a))))
            (local.get $outside)))
        (local.set $minuses
          (i64.and
            (call $equal
              (local.get $block0) (local.get $block1) (local.get $block2) (local.get $block3)
              (i32.const 0x2d (; "-" ;)))
            (local.get $outside)))
        (local.set $dots
          (i64.and
            (call $equal
              (local.get $block0) (local.get $block1) (local.get $block2) (local.get $block3)
              (i32.const 0x2e (; "." ;)))
            (local.get $outside)))
        ;; Literals, one by one, and exponents: both are rare beside plain numbers.
        (local.set $others
          (i64.xor
            (local.get $scalars)
            (i64.or (i64.or (local.get $digits) (local.get $minuses)) (local.get $dots))))
        (if (i32.eqz (i64.eqz (i64.or (local.get $others) (local.get $in_exponent))))
          (then
            (local.set $words (i64.and (local.get $starts) (local.get $others)))
            (local.set $others
              (i64.and (local.get $others) (i64.xor (local.get $literal_before) (i64.const -1))))
            (local.set $literal_before (i64.const 0))
            (block $done3
              (loop $again3
                (br_if $done3 (i64.eqz (local.get $words)))
                (local.set $index1 (i64.ctz (local.get $words)))
                (local.set $at (i32.add (local.get $position) (i32.wrap_i64 (local.get $index1))))
                (local.set $letters (i32.load align=1 (local.get $at)))
                (local.set $is_false
                  (i32.and
                    (i32.eq (local.get $letters) (i32.const 0x736c6166 (; "fals" ;)))
                    (i32.eq (i32.load8_u offset=4 (local.get $at)) (i32.const 0x65 (; "e" ;)))))
                (if
                    (i32.eqz
                      (i32.or
                        (i32.or
                          (local.get $is_false)
                          (i32.eq (local.get $letters) (i32.const 0x6c6c756e (; "null" ;))))
                        (i32.eq (local.get $letters) (i32.const 0x65757274 (; "true" ;)))))
                  (then
                    (return (i32.const 0))))
                (local.set $follower (i32.load8_u offset=4 (i32.add (local.get $at) (local.get $is_false))))
                (if
                    (i32.eqz
                      (i32.or
                        (i32.or
                          (i32.or
                            (i32.eq (local.get $follower) (i32.const 0x7d (; "}" ;)))
                            (i32.eq (local.get $follower) (i32.const 0x5d (; "]" ;))))
                          (i32.eq (local.get $follower) (i32.const 0x2c (; "," ;))))
                        (i32.le_u (local.get $follower) (i32.const 32))))
                  (then
                    (return (i32.const 0))))
                (local.set $cover
                  (i64.or (i64.const 15) (i64.shl (i64.extend_i32_u (local.get $is_false)) (i64.const 4))))
                (local.set $others
                  (i64.and
                    (local.get $others)
                    (i64.xor (i64.shl (local.get $cover) (local.get $index1)) (i64.const -1))))
                (local.set $literal_before
                  (i64.or
                    (local.get $literal_before)
                    (i64.shr_u
                      (i64.shr_u (local.get $cover) (i64.const 1))
                      (i64.sub (i64.const 63) (local.get $index1)))))
                (local.set $words (i64.and (local.get $words) (i64.sub (local.get $words) (i64.const 1))))
                (br $again3)))
            ;; An exponent follows a digit: at a start it would be a literal; after anything else a digit is required.
            (local.set $exponents
              (i64.and
                (call $mask
                  (i8x16.eq
                    (v128.or (local.get $block0) (i8x16.splat (i32.const 0x20)))
                    (i8x16.splat (i32.const 0x65 (; "e" ;))))
                  (i8x16.eq
                    (v128.or (local.get $block1) (i8x16.splat (i32.const 0x20)))
                    (i8x16.splat (i32.const 0x65 (; "e" ;))))
                  (i8x16.eq
                    (v128.or (local.get $block2) (i8x16.splat (i32.const 0x20)))
                    (i8x16.splat (i32.const 0x65 (; "e" ;))))
                  (i8x16.eq
                    (v128.or (local.get $block3) (i8x16.splat (i32.const 0x20)))
                    (i8x16.splat (i32.const 0x65 (; "e" ;)))))
                (local.get $others)))
            (local.set $pluses (i64.xor (local.get $others) (local.get $exponents)))
            (local.set $after_exponent
              (i64.or (i64.shl (local.get $exponents) (i64.const 1)) (local.get $exponent_before)))
            (local.set $signs
              (i64.and (i64.or (local.get $minuses) (local.get $pluses)) (local.get $after_exponent)))
            (local.set $after_sign
              (i64.or (i64.shl (local.get $signs) (i64.const 1)) (local.get $sign_before)))
            (local.set $powers
              (i64.and (i64.or (local.get $after_exponent) (local.get $after_sign)) (local.get $digits)))
            (local.set $after_power
              (i64.add (i64.or (local.get $powers) (local.get $power_before)) (local.get $digits)))
            (local.set $bad
              (i64.or
                (local.get $bad)
                (i64.and
                  (local.get $pluses)
                  (i64.xor
                    (i64.and
                      (call $equal
                        (local.get $block0) (local.get $block1) (local.get $block2) (local.get $block3)
                        (i32.const 0x2b (; "+" ;)))
                      (local.get $after_exponent))
                    (i64.const -1)))))
            (local.set $bad
              (i64.or
                (local.get $bad)
                (i64.and
                  (i64.or (i64.xor (local.get $after_exponent) (local.get $signs)) (local.get $after_sign))
                  (i64.xor (local.get $digits) (i64.const -1)))))
            (local.set $bad
              (i64.or (local.get $bad) (i64.and (local.get $exponents) (local.get $after_power))))
            (local.set $minuses
              (i64.and (local.get $minuses) (i64.xor (local.get $after_exponent) (i64.const -1))))
            (local.set $exponent_before (i64.shr_u (local.get $exponents) (i64.const 63)))
            (local.set $sign_before (i64.shr_u (local.get $signs) (i64.const 63)))
            (local.set $power_before
              (i64.shr_u
                (i64.and (local.get $digits) (i64.xor (local.get $after_power) (i64.const -1)))
                (i64.const 63)))
            (local.set $in_exponent
              (i64.or
                (i64.or (local.get $exponent_before) (local.get $sign_before))
                (local.get $power_before)))))
        ;; Numbers. A dot may follow the integer part only; a digit must follow a sign or a dot.
        (local.set $after_minus
          (i64.or (i64.shl (local.get $minuses) (i64.const 1)) (local.get $minus_before)))
        (local.set $after_dot (i64.or (i64.shl (local.get $dots) (i64.const 1)) (local.get $dot_before)))
        (local.set $integers
          (i64.and (i64.or (local.get $starts) (local.get $after_minus)) (local.get $digits)))
        (local.set $leading_zeros
          (i64.and
            (local.get $integers)
            (call $equal
              (local.get $block0) (local.get $block1) (local.get $block2) (local.get $block3)
              (i32.const 0x30 (; "0" ;)))))
        (local.set $after_integer
          (i64.add (i64.or (local.get $integers) (local.get $integer_before)) (local.get $digits)))
        (local.set $bad
          (i64.or
            (local.get $bad)
            (i64.and (local.get $minuses) (i64.xor (local.get $starts) (i64.const -1)))))
        (local.set $bad
          (i64.or
            (local.get $bad)
            (i64.and
              (i64.or (local.get $after_minus) (local.get $after_dot))
              (i64.xor (local.get $digits) (i64.const -1)))))
        (local.set $bad
          (i64.or
            (local.get $bad)
            (i64.and
              (i64.or (i64.shl (local.get $leading_zeros) (i64.const 1)) (local.get $zero_before))
              (local.get $digits))))
        (local.set $bad
          (i64.or
            (local.get $bad)
            (i64.and (local.get $dots) (i64.xor (local.get $after_integer) (i64.const -1)))))
        (local.set $minus_before (i64.shr_u (local.get $minuses) (i64.const 63)))
        (local.set $dot_before (i64.shr_u (local.get $dots) (i64.const 63)))
        (local.set $zero_before (i64.shr_u (local.get $leading_zeros) (i64.const 63)))
        (local.set $integer_before
          (i64.shr_u
            (i64.and (local.get $digits) (i64.xor (local.get $after_integer) (i64.const -1)))
            (i64.const 63)))
        (if (i64.ne (local.get $bad) (i64.const 0))
          (then
            (return (i32.const 0))))
        (local.set $position (i32.add (local.get $position) (i32.const 0x40 (; "@" ;))))
        (br $again0)))
    (local.set $open_containers (i64.extend_i32_u (local.get $depth)))
    (global.set $saved_in_string (local.get $in_string))
    (global.set $saved_escaped (local.get $escaped))
    (global.set $saved_scalar_before (local.get $scalar_before))
    (global.set $saved_string_before (local.get $string_before))
    (global.set $saved_value_before (local.get $value_before))
    (global.set $saved_opener_before (local.get $opener_before))
    (global.set $saved_separator_before (local.get $separator_before))
    (global.set $saved_dot_before (local.get $dot_before))
    (global.set $saved_minus_before (local.get $minus_before))
    (global.set $saved_zero_before (local.get $zero_before))
    (global.set $saved_integer_before (local.get $integer_before))
    (global.set $saved_exponent_before (local.get $exponent_before))
    (global.set $saved_sign_before (local.get $sign_before))
    (global.set $saved_power_before (local.get $power_before))
    (global.set $saved_in_exponent (local.get $in_exponent))
    (global.set $saved_literal_before (local.get $literal_before))
    (global.set $saved_in_object (local.get $in_object))
    (global.set $saved_open_containers (local.get $open_containers))
    (if
        (i32.and
          (i64.eqz
            (i64.or
              (i64.or
                (i64.or
                  (i64.or (i64.or (local.get $in_string) (local.get $dot_before)) (local.get $minus_before))
                  (local.get $exponent_before))
                (local.get $sign_before))
              (local.get $open_containers)))
          (i32.eqz
            (i64.eqz
              (i64.or
                (i64.or (local.get $scalar_before) (local.get $string_before))
                (local.get $value_before)))))
      (then
        (return (i32.const 2))))
    (return (i32.const 1))
    (unreachable))

  ;; One bit for each of 64 bytes: the highest bit of each byte.
  (func $mask (param $a v128) (param $b v128) (param $c v128) (param $d v128) (result i64)
    (i64.or
      (i64.or
        (i64.extend_i32_u (i8x16.bitmask (local.get $a)))
        (i64.shl (i64.extend_i32_u (i8x16.bitmask (local.get $b))) (i64.const 16)))
      (i64.or
        (i64.shl (i64.extend_i32_u (i8x16.bitmask (local.get $c))) (i64.const 32))
        (i64.shl (i64.extend_i32_u (i8x16.bitmask (local.get $d))) (i64.const 48)))))

  ;; One bit for each of 64 bytes that equals $byte.
  (func $equal (param $a v128) (param $b v128) (param $c v128) (param $d v128) (param $byte i32) (result i64)
    (call $mask
      (i8x16.eq (local.get $a) (i8x16.splat (local.get $byte)))
      (i8x16.eq (local.get $b) (i8x16.splat (local.get $byte)))
      (i8x16.eq (local.get $c) (i8x16.splat (local.get $byte)))
      (i8x16.eq (local.get $d) (i8x16.splat (local.get $byte)))))

  ;; Whether the backslash at address $at begins one of the escapes of RFC 8259, section 7.
  (func $is_escape (param $at i32) (result i32)
    (local $letter i32)
    (local.set $letter (i32.load8_u offset=1 (local.get $at)))
    (if (i32.eq (local.get $letter) (i32.const 0x75 (; "u" ;)))
      (then
        (return
          (i32.and
            (i32.and
              (call $is_hex_digit (i32.load8_u offset=2 (local.get $at)))
              (call $is_hex_digit (i32.load8_u offset=3 (local.get $at))))
            (i32.and
              (call $is_hex_digit (i32.load8_u offset=4 (local.get $at)))
              (call $is_hex_digit (i32.load8_u offset=5 (local.get $at))))))))
    (if (i32.eq (local.get $letter) (i32.const 0x22 (; "\"" ;))) (then (return (i32.const 1))))
    (if (i32.eq (local.get $letter) (i32.const 0x5c (; "\\\\" ;))) (then (return (i32.const 1))))
    (if (i32.eq (local.get $letter) (i32.const 0x2f (; "/" ;))) (then (return (i32.const 1))))
    (if (i32.eq (local.get $letter) (i32.const 0x62 (; "b" ;))) (then (return (i32.const 1))))
    (if (i32.eq (local.get $letter) (i32.const 0x66 (; "f" ;))) (then (return (i32.const 1))))
    (if (i32.eq (local.get $letter) (i32.const 0x6e (; "n" ;))) (then (return (i32.const 1))))
    (if (i32.eq (local.get $letter) (i32.const 0x72 (; "r" ;))) (then (return (i32.const 1))))
    (if (i32.eq (local.get $letter) (i32.const 0x74 (; "t" ;))) (then (return (i32.const 1))))
    (i32.const 0))

  (func $is_hex_digit (param $digit i32) (result i32)
    (i32.or
      (i32.lt_u (i32.sub (local.get $digit) (i32.const 0x30 (; "0" ;))) (i32.const 10))
      (i32.lt_u
        (i32.sub (i32.or (local.get $digit) (i32.const 0x20)) (i32.const 0x61 (; "a" ;)))
        (i32.const 6)))))

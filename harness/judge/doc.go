// Package judge turns what engines did with a case into verdicts: it compares each pair of
// engines, and knows why some refuse what others load.
package judge

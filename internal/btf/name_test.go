package btf

import (
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

func TestEssentialName(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "a": "a", "task_struct": "task_struct", "task_struct___old": "task_struct",
		"f": "f", "f___v2": "f", "a_b___c_d": "a_b", "f____v": "f____v", "f___": "f___", "f__v": "f__v",
		"a___b___c": "a___b", "a____b": "a____b", "___a": "___a", "a___": "a___", "a___b": "a", "a_____b___c": "a_____b",
	} {
		assert.Check(t, is.Equal(EssentialName(name), want))
	}
}

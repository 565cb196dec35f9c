// Package svg writes drawings as SVG files: elements, texts, lines, and a whole drawing on a light background, which reads in a light
// page and in a dark one.
package svg

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// Element is one element of an SVG drawing.
type Element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []Element
}

// El makes an element of a name and pairs of attribute and value.
func El(name string, pairs ...any) Element {
	e := Element{XMLName: xml.Name{Local: name}}
	for i := 0; i+1 < len(pairs); i += 2 {
		value := fmt.Sprint(pairs[i+1])
		if f, ok := pairs[i+1].(float64); ok {
			value = strconv.FormatFloat(f, 'f', -1, 64)
		}
		e.Attrs = append(e.Attrs, xml.Attr{Name: xml.Name{Local: fmt.Sprint(pairs[i])}, Value: value})
	}
	return e
}

// Label is a text; anchor says which part of it stands at x: start, middle or end.
func Label(x, y float64, anchor, text string, pairs ...any) Element {
	e := El("text", append([]any{"x", x, "y", y, "text-anchor", anchor}, pairs...)...)
	e.Text = text
	return e
}

// Trace is a line through points in whole pixels, written by the steps between them, which is short.
func Trace(points [][2]int, pairs ...any) Element {
	var d strings.Builder
	for i, p := range points {
		if i == 0 {
			fmt.Fprintf(&d, "M%d %dl", p[0], p[1])
			continue
		}
		dx, dy := strconv.Itoa(p[0]-points[i-1][0]), strconv.Itoa(p[1]-points[i-1][1])
		if i > 1 && dx[0] != '-' {
			d.WriteByte(' ')
		}
		d.WriteString(dx)
		if dy[0] != '-' {
			d.WriteByte(' ')
		}
		d.WriteString(dy)
	}
	return El("path", append([]any{"d", strings.TrimSuffix(d.String(), "l"), "fill", "none"}, pairs...)...)
}

// Drawing is a whole SVG file on a light background.
func Drawing(width, height float64, children []Element) ([]byte, error) {
	root := El("svg", "xmlns", "http://www.w3.org/2000/svg", "viewBox", fmt.Sprintf("0 0 %v %v", width, height),
		"width", width, "height", height, "font-family", "system-ui, sans-serif", "font-size", 12, "fill", "#222")
	root.Children = append([]Element{El("rect", "width", width, "height", height, "fill", "#fff")}, children...)
	out, err := xml.Marshal(root)
	return append(out, '\n'), err
}

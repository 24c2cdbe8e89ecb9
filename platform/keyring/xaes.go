package keyring

import (
	"crypto/aes"
	"crypto/cipher"
)

// NonceSize and Overhead are those of XAES-256-GCM.
const (
	nonceSize = 24
	tagSize   = 16
)

// xaes is XAES-256-GCM (C2SP): AES-256-GCM whose key comes from the first half of
// the nonce by the KDF of NIST SP 800-108r1 with CMAC in counter mode.
type xaes struct {
	block cipher.Block
	k1    [aes.BlockSize]byte // the first subkey of CMAC (NIST SP 800-38B, section 6.1)
}

func newXAES(key []byte) (*xaes, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	x := &xaes{block: block}
	block.Encrypt(x.k1[:], x.k1[:])
	carry := byte(0)
	for i := len(x.k1) - 1; i >= 0; i-- {
		x.k1[i], carry = x.k1[i]<<1|carry, x.k1[i]>>7
	}
	if carry != 0 {
		x.k1[len(x.k1)-1] ^= 0x87
	}
	return x, nil
}

// gcm returns the AES-256-GCM of a nonce. Both blocks of the derived key are the
// CMAC of one block: a counter, the label X, and half of the nonce.
func (x *xaes) gcm(nonce []byte) (cipher.AEAD, error) {
	var key [Size]byte
	for i := range 2 {
		b := key[i*aes.BlockSize : (i+1)*aes.BlockSize]
		b[1], b[2] = byte(i+1), 'X'
		copy(b[4:], nonce[:12])
		for j := range b {
			b[j] ^= x.k1[j]
		}
		x.block.Encrypt(b, b)
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (x *xaes) seal(dst, nonce, plain, ad []byte) ([]byte, error) {
	g, err := x.gcm(nonce)
	if err != nil {
		return nil, err
	}
	return g.Seal(dst, nonce[12:], plain, ad), nil
}

func (x *xaes) open(dst, nonce, sealed, ad []byte) ([]byte, error) {
	g, err := x.gcm(nonce)
	if err != nil {
		return nil, err
	}
	return g.Open(dst, nonce[12:], sealed, ad)
}
